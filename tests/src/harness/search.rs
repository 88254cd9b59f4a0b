use memchr::memmem;

/// Looks for markers in bytes that come in pieces; a marker may begin in one piece and end in a later one.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    markers: &'a [&'a [u8]],
    found: Vec<bool>,
    /// The end of what came before, one byte shorter than the longest marker.
    tail: Vec<u8>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(markers: &'a [&'a [u8]]) -> Self {
        Self { markers, found: vec![false; markers.len()], tail: Vec::new() }
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(piece);
        for (marker, found) in self.markers.iter().zip(&mut self.found) {
            *found = *found || memmem::find(&self.tail, marker).is_some();
        }
        let longest = self.markers.iter().map(|marker| marker.len()).max().unwrap_or_default();
        let keep = longest.saturating_sub(1).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
    }

    /// What comes next does not follow what came before.
    pub(crate) fn gap(&mut self) {
        self.tail.clear();
    }

    /// Those that were there, in the order in which they were given.
    pub(crate) fn found(&self) -> Vec<&'a [u8]> {
        self.markers.iter().zip(&self.found).filter(|(_, found)| **found).map(|(marker, _)| *marker).collect()
    }
}
