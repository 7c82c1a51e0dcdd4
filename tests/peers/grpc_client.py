"""Calls /test.Echo of peers/grpc_server.py and prints what came back as JSON.

Arguments: host name, address, CA file, method, number of messages, then metadata as `name=value`.
"""
import json
import sys
import grpc

name, address, ca, method, count = sys.argv[1:6]
more = [tuple(pair.split("=", 1)) for pair in sys.argv[6:]]
credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
options = [("grpc.ssl_target_name_override", name), ("grpc.default_authority", name),
           ("grpc.enable_http_proxy", 0)]
channel = grpc.secure_channel(address, credentials, options)
path = "/test.Echo/" + method
metadata = [("x-asked", "this"), *more]
result = {"code": "OK", "details": "", "messages": []}
try:
    if method == "Stream":
        call = channel.stream_stream(path)((b"m%d" % i * (i + 1) for i in range(int(count))),
                                           metadata=metadata, timeout=30)
        result["messages"] = [message.decode() for message in call]
    else:
        answer, call = channel.unary_unary(path).with_call(b"abc", metadata=metadata, timeout=30)
        result["messages"] = [answer.decode()]
except grpc.RpcError as error:
    call = error
    result["code"] = error.code().name
    result["details"] = error.details()
result["initial"] = {key: str(value) for key, value in call.initial_metadata() or ()}
result["trailing"] = {key: str(value) for key, value in call.trailing_metadata() or ()}
print(json.dumps(result))
