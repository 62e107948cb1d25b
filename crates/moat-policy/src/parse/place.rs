//! Byte offsets into lines and columns.

use std::sync::Arc;

/// Columns are characters up to this far into a line, bytes beyond.
pub(super) const COLUMN_BYTES_MAX: usize = 4096;

/// A place in a file, counted from 1.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) source: usize,
    pub(super) file: Arc<str>,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Turns byte offsets into places.
pub(super) struct Lines<'t> {
    source: usize,
    file: Arc<str>,
    pub(super) text: &'t str,
    /// Byte offset of each line's start.
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(source: usize, file: &str, text: &'t str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(i, _)| i + 1))
            .collect();
        Self {
            source,
            file: Arc::from(file),
            text,
            starts,
        }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|&start| start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        // Counting characters again and again on a line of megabytes would take minutes.
        let column = match self.text.get(start..offset) {
            Some(before) if before.len() <= COLUMN_BYTES_MAX => before.chars().count() + 1,
            _ => offset - start + 1,
        };
        Place {
            source: self.source,
            file: Arc::clone(&self.file),
            line,
            column,
        }
    }
}
