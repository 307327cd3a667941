#ifndef PBT_STDDEF_H
#define PBT_STDDEF_H
typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __WCHAR_TYPE__ wchar_t;
typedef __WINT_TYPE__ wint_t;
typedef struct { long long integer; long double real; } max_align_t;
#define NULL 0
#endif
