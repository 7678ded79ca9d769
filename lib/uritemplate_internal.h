/* uritemplate_internal.h - a compiled template, as uritemplate.c makes it and uritemplate_match.c reads it. */
#ifndef MERCURE_URITEMPLATE_INTERNAL_H
#define MERCURE_URITEMPLATE_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include "mercure/uritemplate.h"

/* A row of the table in RFC 6570, appendix A. */
typedef struct {
    char symbol; /* 0: no operator */
    char first;  /* 0: none */
    char separator;
    bool named;
    bool bare;     /* an empty string's piece is its name without "=" */
    bool reserved; /* reserved characters stay plain */
} uritemplate_operator;

typedef struct {
    uint16_t name; /* where it begins in the text */
    uint16_t name_len;
    uint16_t prefix; /* of the prefix modifier; 0: none */
    bool exploded;
} uritemplate_variable;

/* Literals or an expression. */
typedef struct {
    const uritemplate_operator *op; /* NULL: literals */
    uint16_t at;                    /* literals: where they begin in the text; else the first variable's index */
    uint16_t count;                 /* bytes, or variables */
} uritemplate_part;

struct mercure_uritemplate {
    atomic_uint references;
    size_t part_count; /* the parts between prefix and suffix */
    uritemplate_part *parts;
    uritemplate_variable *variables;
    const char *text;
    size_t text_len;
    size_t prefix_len;
    size_t suffix_len;
};

/* The value of a hexadecimal digit, or -1. */
static inline int uritemplate_hex(unsigned char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number of bytes of the code point that begins with `lead`, in text known to be UTF-8. */
static inline size_t uritemplate_code_point_len(unsigned char lead)
{
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

#endif
