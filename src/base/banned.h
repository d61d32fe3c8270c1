/* Included before every file by the build: functions whose result or length nobody checks do not compile. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With _FORTIFY_SOURCE some of them are macros. */
#undef strcpy
#undef strcat
#undef sprintf
#undef vsprintf
#undef gets

#pragma GCC poison strcpy strcat sprintf vsprintf gets atoi atol atoll atof strtok

#endif
