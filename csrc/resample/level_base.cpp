// The rows of the resampler for any processor.
#define MMLANDMARK_RESAMPLE_LEVEL base_resample_table
#include "rows.h"
