//! The board under jobs that come, go and come again, and under what is left of them on the disk.
