//! scan-data
