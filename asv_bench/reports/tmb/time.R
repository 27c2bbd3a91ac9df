# Time TMB, glmmTMB and lme4: Rscript time.R NAME FOLDER. Reads the data that reports/laplace.py
# wrote to FOLDER; prints value, gradient, and seconds of an evaluation of both (processor time).
arguments <- commandArgs(TRUE)
name <- arguments[1]
folder <- arguments[2]
table <- function(file) read.csv(file.path(folder, file))

timed <- function(f, points) {
  first <- f(points[1, ])
  seconds <- apply(points[-1, , drop = FALSE], 1, function(p) {
    before <- proc.time()
    f(p)
    sum((proc.time() - before)[1:2])
  })
  cat(format(c(first, median(seconds)), digits = 17), "\n")
}

both <- function(object) function(p) c(object$fn(p), object$gr(p))
points <- as.matrix(table("points.csv"))

if (name == "glmm") {
  suppressMessages(library(glmmTMB))
  data <- table("data.csv")
  made <- glmmTMB(y ~ z + (1 | g) + (1 | h), data, family = poisson, doFit = FALSE)
  object <- with(made, TMB::MakeADFun(data.tmb, parameters, map = mapArg, random = randomArg,
                                      DLL = "glmmTMB", silent = TRUE))
  timed(both(object), points)
} else {
  suppressMessages({ library(TMB); library(Matrix) })
  source <- file.path(folder, "models.cpp")
  if (!file.exists(dynlib(file.path(folder, "models")))) {
    begin <- proc.time()
    compile(source, flags = "-O2 -w")
    cat("compiled in", sum((proc.time() - begin)[c(1, 2, 4, 5)]), "s of processor time\n", file = stderr())
  }
  dyn.load(dynlib(file.path(folder, "models")))
  y <- table("data.csv")$y
  data <- list(model = c(gmrf = 0, volatility = 1, student = 2)[[name]], y = y)
  if (name == "gmrf") {
    rows <- sqrt(length(y))
    D <- bandSparse(rows, k = c(0, 1), diagonals = list(c(1, rep(2, rows - 2), 1), rep(-1, rows)),
                    symmetric = TRUE)
    data$grid <- as(kronecker(D, Diagonal(rows)) + kronecker(Diagonal(rows), D), "generalMatrix")
    e <- 2 - 2 * cos(pi * (0:(rows - 1)) / rows)
    data$eigenvalues <- as.vector(outer(e, e, "+"))
  }
  x <- table("start.csv")$x
  object <- MakeADFun(data, list(theta = as.vector(points[1, ]), x = x), random = "x",
                      DLL = "models", silent = TRUE)
  timed(both(object), points)
}
