#ifndef PBT_STDARG_H
#define PBT_STDARG_H
typedef __builtin_va_list __gnuc_va_list;
typedef __builtin_va_list va_list;
#endif
