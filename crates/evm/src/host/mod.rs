//! What only the host does: files, samples, import.
