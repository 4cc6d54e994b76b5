//! The store sink's section of the file.
