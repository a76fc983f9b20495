//! OCI layers: decompress, apply, diff
