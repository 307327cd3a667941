#ifndef PBT_FLOAT_H
#define PBT_FLOAT_H
#define FLT_RADIX 2
#define FLT_MANT_DIG 24
#define DBL_MANT_DIG 53
#endif
