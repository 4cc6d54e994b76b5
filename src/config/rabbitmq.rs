//! The rabbitmq sink's section of the file.
