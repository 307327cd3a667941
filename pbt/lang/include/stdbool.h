#ifndef PBT_STDBOOL_H
#define PBT_STDBOOL_H
#define bool _Bool
#endif
