//! Steps of a session, read from the fuzzer's bytes from front to back, so that a corpus can be written by hand.

/// What is left of an input. Behind its end everything is 0.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// At most `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// A piece whose length stands before it in two bytes.
    pub(crate) fn piece(&mut self) -> &'a [u8] {
        let length = self.word();
        self.bytes(usize::from(length))
    }

    /// Changes some bytes of `bytes` and its length: a count, then places and values.
    pub(crate) fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.byte() % 8 {
            let (at, value) = (usize::from(self.word()), self.byte());
            match bytes.len() {
                0 => {}
                length if value == 0xff && at.is_multiple_of(2) => bytes.truncate(at % (length + 1)),
                length => {
                    if let Some(byte) = bytes.get_mut(at % length) {
                        *byte ^= value;
                    }
                }
            }
        }
    }
}
