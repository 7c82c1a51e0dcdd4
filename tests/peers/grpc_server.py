"""A gRPC server of raw bytes; prints its port.

Arguments: nothing for plain HTTP/2, or a certificate and a key.
/test.Echo/Unary answers the request backwards, with trailing metadata;
/test.Echo/Fail fails with OUT_OF_RANGE; /test.Echo/Stream echoes a stream of messages. /grpc.health.v1.Health/Check answers SERVING for the
server as a whole, NOT_SERVING for the service "down", and fails for any other.
"""
import sys
from concurrent import futures
import grpc


def unary(request, context):
    seen = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-initial", "first")])
    context.set_trailing_metadata([("x-trailing", "last"), ("x-saw", seen.get("x-asked", "nothing"))])
    return request[::-1]


def fail(request, context):
    context.set_trailing_metadata([("x-trailing", "last")])
    context.abort(grpc.StatusCode.OUT_OF_RANGE, "too far, 100%")


def stream(requests, context):
    count = 0
    for request in requests:
        count += 1
        yield request
    context.set_trailing_metadata([("x-count", str(count))])


def check(request, context):
    service = request[2:].decode()
    if service not in ("", "down"):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return bytes([8, 2 if service else 1])


server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Stream": grpc.stream_stream_rpc_method_handler(stream),
})])
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {
    "Check": grpc.unary_unary_rpc_method_handler(check),
})])
if len(sys.argv) > 1:
    cert, key = (open(name, "rb").read() for name in sys.argv[1:3])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print("listening", port, flush=True)
server.wait_for_termination()
