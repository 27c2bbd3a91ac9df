# Time the restricted deviance of lme4 on its own data: Rscript lme4.R FOLDER. Writes the data and
# prints, for each model, its name, the deviance at the first point, and seconds of an evaluation
# (processor time, the least of several). Groups stand in lme4's order, by the number of levels.
suppressMessages(library(lme4))
folder <- commandArgs(TRUE)[1]

evaluate <- function(name, formula, data, groups, points, repeats) {
  frame <- data.frame(y = data[[all.vars(formula)[1]]], lapply(groups, as.integer))
  write.csv(frame, file.path(folder, paste0(name, ".csv")), row.names = FALSE, quote = FALSE)
  deviance <- lmer(formula, data, devFunOnly = TRUE)
  value <- deviance(points[[1]])
  seconds <- replicate(5, {
    before <- proc.time()
    for (k in seq_len(repeats)) for (p in points) deviance(p)
    sum((proc.time() - before)[1:2]) / (repeats * length(points))
  })
  cat(name, format(c(value, min(seconds)), digits = 15), "\n")
}

evaluate("sleepstudy", Reaction ~ Days + (Days | Subject), sleepstudy,
         list(subject = sleepstudy$Subject, days = sleepstudy$Days),
         list(c(0.9, 0.02, 0.2), c(1, 0.01, 0.3)), 200)
evaluate("Penicillin", diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin,
         list(plate = Penicillin$plate, sample = Penicillin$sample), list(c(1.5, 3.5), c(1.6, 3.2)), 200)
evaluate("Pastes", strength ~ 1 + (1 | batch) + (1 | sample), Pastes,
         list(sample = Pastes$sample, batch = Pastes$batch), list(c(1.5, 3.5), c(1.6, 3.2)), 200)
both <- interaction(InstEval$dept, InstEval$service, drop = TRUE)
evaluate("InstEval", y ~ 1 + (1 | s) + (1 | d) + (1 | both), cbind(InstEval, both = both),
         list(s = InstEval$s, d = InstEval$d, both = both), list(c(0.28, 0.43, 0.1), c(0.3, 0.45, 0.12)), 3)
