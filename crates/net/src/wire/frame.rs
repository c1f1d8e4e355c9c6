//! Frames of the request-response protocols: a length of four bytes, little endian, and a message.

use std::{io, marker::PhantomData};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};
use serde::{Serialize, de::DeserializeOwned};

use super::{Bounded, FRAME_BYTES_MAX, decode, encode};

/// Reads and writes requests `Q` and responses `A`.
pub(crate) struct Frames<Q, A>(PhantomData<fn() -> (Q, A)>);

impl<Q, A> Default for Frames<Q, A> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<Q, A> Clone for Frames<Q, A> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// The reason for which a request could not be read. libp2p does not report such requests, and
/// their sender has to be known.
#[derive(Debug)]
pub(crate) struct Garbage(pub String);

/// A message that can go over the wire.
pub(crate) trait Message: Serialize + DeserializeOwned + Bounded + Send {}

impl<T: Serialize + DeserializeOwned + Bounded + Send> Message for T {}

/// Memory follows the bytes that arrive, not the length that was announced.
async fn read<T: Message>(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<T> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        let text = format!("a frame of {length} bytes, and {FRAME_BYTES_MAX} are allowed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::new();
    io.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    decode(&bytes, FRAME_BYTES_MAX)
        .or_else(|e| T::of_other_version(&bytes).ok_or(e))
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

async fn write<T: Message>(io: &mut (impl AsyncWrite + Unpin + Send), message: T) -> io::Result<()> {
    let bytes =
        encode(&message, FRAME_BYTES_MAX).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    drop(message);
    io.write_all(&(bytes.len() as u32).to_le_bytes()).await?;
    io.write_all(&bytes).await?;
    io.flush().await
}

impl<Q: Message, A: Message> request_response::Codec for Frames<Q, A> {
    type Protocol = StreamProtocol;
    type Request = Result<Q, Garbage>;
    type Response = A;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read(io).await {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Ok(Err(Garbage(e.to_string()))),
            read => read.map(Ok),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<A>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match request {
            Ok(request) => write(io, request).await,
            Err(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: A) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, response).await
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};

    use super::*;
    use crate::wire::Response;

    fn bytes_of(message: Response) -> Vec<u8> {
        let mut io = Cursor::new(Vec::new());
        block_on(write(&mut io, message)).unwrap();
        io.into_inner()
    }

    fn error_of(bytes: &[u8]) -> io::ErrorKind {
        block_on(read::<Response>(&mut Cursor::new(bytes)))
            .unwrap_err()
            .kind()
    }

    #[test]
    fn frames_round_trip() {
        let message = Response::Extended { lease_ms: 12_345 };
        let read = block_on(read::<Response>(&mut Cursor::new(bytes_of(message.clone()))));
        assert_eq!(read.unwrap(), message);
    }

    #[test]
    fn the_sender_of_a_request_that_is_none_can_be_told() {
        let read = |bytes: &[u8]| {
            let mut codec = Frames::<Response, Response>::default();
            let protocol = StreamProtocol::new("/test");
            let mut io = Cursor::new(bytes.to_vec());
            block_on(request_response::Codec::read_request(
                &mut codec, &protocol, &mut io,
            ))
        };
        assert!(matches!(
            read(&bytes_of(Response::Received)),
            Ok(Ok(Response::Received))
        ));
        assert!(matches!(read(&[1, 0, 0, 0, 0xff]), Ok(Err(Garbage(_)))));
        assert!(matches!(read(&[0xff; 100]), Ok(Err(Garbage(_)))), "too long");
        assert!(read(&[1, 0, 0, 0]).is_err(), "the stream broke");
    }

    #[test]
    fn bad_frames_are_errors() {
        let whole = bytes_of(Response::Received);
        for end in 0..whole.len() {
            assert_eq!(error_of(&whole[..end]), io::ErrorKind::UnexpectedEof, "{end}");
        }
        let too_long = (FRAME_BYTES_MAX as u32 + 1).to_le_bytes();
        assert_eq!(error_of(&too_long), io::ErrorKind::InvalidData);
        assert_eq!(
            error_of(&[1, 0, 0, 0, 0xff]),
            io::ErrorKind::InvalidData,
            "no such variant"
        );
        assert_eq!(
            error_of(&[2, 0, 0, 0, 3, 0]),
            io::ErrorKind::InvalidData,
            "a byte after the message"
        );
    }
}
