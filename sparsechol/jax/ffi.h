/* What a handler of XLA's foreign function interface sees, as far as version 0.1 of it goes.

   Every structure begins with its size and a list of extensions, and later versions only append,
   so that what stands here holds for all of them. */

#ifndef SPARSECHOL_FFI_H
#define SPARSECHOL_FFI_H

#include <stddef.h>
#include <stdint.h>

enum {FFI_MAJOR = 0, FFI_MINOR = 1};
enum {FFI_EXTENSION_METADATA = 1};
enum {FFI_F32 = 11, FFI_F64 = 12, FFI_C64 = 15, FFI_C128 = 18};
enum {FFI_STAGE_EXECUTE = 3};
enum {FFI_ATTRIBUTE_SCALAR = 3, FFI_ATTRIBUTE_STRING = 4};
enum {FFI_INVALID_ARGUMENT = 3, FFI_NOT_FOUND = 5, FFI_RESOURCE_EXHAUSTED = 8};

typedef struct ffi_extension {
    size_t size;
    int type;
    struct ffi_extension *next;
} ffi_extension;

typedef struct {
    size_t size;
    ffi_extension *extensions;
    int major;
    int minor;
} ffi_version;

/* The runtime asks which version a handler is written for. */
typedef struct {
    size_t size;
    ffi_version version;
    uint32_t traits;
} ffi_metadata;

typedef struct {
    ffi_extension base;
    ffi_metadata *metadata;
} ffi_metadata_extension;

typedef struct ffi_error ffi_error;

typedef struct {
    size_t size;
    ffi_extension *extensions;
    const char *message;
    int code;
} ffi_error_arguments;

typedef struct {
    size_t size;
    ffi_extension *extensions;
    ffi_version version;
    const void *internal;
    ffi_error *(*create_error)(ffi_error_arguments *arguments);
} ffi_api;

typedef struct {
    size_t size;
    ffi_extension *extensions;
    int type;
    void *data;
    int64_t rank;
    int64_t *dims;
} ffi_buffer;

typedef struct {
    const char *text;
    size_t length;
} ffi_string;

typedef struct {
    int type;
    void *value;
} ffi_scalar;

/* Operands, and results. */
typedef struct {
    size_t size;
    ffi_extension *extensions;
    int64_t count;
    int *types;
    ffi_buffer **buffers;
} ffi_buffers;

typedef struct {
    size_t size;
    ffi_extension *extensions;
    int64_t count;
    int *types;
    ffi_string **names;
    void **values;          /* ffi_string or ffi_scalar, as their types say */
} ffi_attributes;

typedef struct {
    size_t size;
    ffi_extension *extensions;
    const ffi_api *api;
    void *context;
    int stage;
    ffi_buffers operands;
    ffi_buffers results;
    ffi_attributes attributes;
} ffi_call;

#endif
