//! From bytes to messages: JSON bodies and the file formats of `replay`.
