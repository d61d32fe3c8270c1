/*
 * Tokens of a filter. For the files of filter/ alone.
 *
 * The lexer only finds where tokens begin and end; literal.h decodes them. It never fails: what is no token
 * is LEX_BAD, and the parser, which knows what it expected, finds the words. A struct lexer may be copied to
 * look ahead.
 */
#ifndef FILTER_LEXER_H
#define FILTER_LEXER_H

#include <stdbool.h>
#include <stddef.h>

enum lex_kind {
    LEX_END,
    LEX_BAD,    /* one character that starts no token */
    LEX_BADSTR, /* from a quote that does not start a string to the end of what was looked at; see
                   filter_lex_string() */
    LEX_INT,
    LEX_FLOAT,
    LEX_STRING,
    LEX_PREFIXED, /* u8"…", u"…", U"…", L"…": lexed by Milvus and then refused */
    LEX_TRUE,
    LEX_FALSE,
    LEX_NAME,
    LEX_PATH, /* name[…][…] without blanks */
    LEX_LT,
    LEX_LE,
    LEX_GT,
    LEX_GE,
    LEX_EQ,
    LEX_NE,
    LEX_ADD,
    LEX_SUB,
    LEX_MUL,
    LEX_DIV,
    LEX_MOD,
    LEX_POW,
    LEX_BIT, /* & | ^ << >> */
    LEX_TILDE,
    LEX_AND,
    LEX_OR,
    LEX_NOT,
    LEX_IN,
    LEX_LIKE,
    LEX_EXISTS,
    LEX_NULL,    /* is null */
    LEX_NOTNULL, /* is not null */
    LEX_CONTAINS,
    LEX_CONTAINS_ALL,
    LEX_CONTAINS_ANY,
    LEX_LENGTH,
    LEX_UNSUPPORTED, /* a function of Milvus that needs what we do not have */
    LEX_LPAREN,
    LEX_RPAREN,
    LEX_LBRACKET,
    LEX_RBRACKET,
    LEX_LBRACE,
    LEX_RBRACE,
    LEX_COMMA,
};

struct token {
    enum lex_kind kind;
    size_t start, len; /* bytes of the text */
};

struct lexer {
    const char *text;
    size_t len, pos;
};

/* The next token; at the end LEX_END again and again. */
struct token filter_lex(struct lexer *lexer);

/*
 * Whether a string literal starts at `at`. Returns the position behind its closing quote, or 0; then *wrong
 * is the position of the character at fault: the end of the text, a line break, or the backslash of an
 * unknown escape.
 */
size_t filter_lex_string(const struct lexer *lexer, size_t at, size_t *wrong);

/* The number of the column of a byte: 1-based, in characters. */
unsigned filter_column(const char *text, size_t at);

#endif
