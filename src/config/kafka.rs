//! The kafka sink's section of the file.
