// The row kernels for any processor.
#include <cstdint>
#include <cstring>

#define MMLANDMARK_LEVEL base_table
#include "rows/table.inc"
