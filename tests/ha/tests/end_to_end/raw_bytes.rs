//! A gRPC client that sends bytes as they are, protobuf or not.

use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// The client.
pub(crate) struct RawBytes(tonic::client::Grpc<Channel>);

impl RawBytes {
    pub(crate) async fn connect(address: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self(tonic::client::Grpc::new(channel))
    }

    /// Opens a worker's stream with this as its first message; returns how the server ends it.
    pub(crate) async fn open(self, message: Vec<u8>) -> Status {
        self.call("/carillon.v1.WorkerGateway/Open", message).await
    }

    /// Calls a method that nobody has.
    pub(crate) async fn unknown_method(self) -> Status {
        self.call("/carillon.v1.WorkerGateway/Opem", Vec::new()).await
    }

    async fn call(mut self, path: &'static str, message: Vec<u8>) -> Status {
        self.0.ready().await.unwrap();
        let request = Request::new(tokio_stream::once(message));
        let ended = async {
            let mut answers =
                self.0.streaming(request, PathAndQuery::from_static(path), Plain).await?.into_inner();
            while answers.message().await?.is_some() {}
            Ok::<(), Status>(())
        };
        ended.await.expect_err("the server refuses")
    }
}

/// Bytes in, bytes out.
#[derive(Clone, Copy)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use bytes::BufMut;
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        use bytes::Buf;
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}
