//! Control groups, v1 and v2: pure translation, then a dumb apply
