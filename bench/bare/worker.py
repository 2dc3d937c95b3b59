"""The barest Python worker: frames of JSON, length first, from one pipe to another."""
import json
import os
import struct
import sys

dumps = json.JSONEncoder(separators=(',', ':')).encode


def serve(main, source, sink):
    buffer = b''
    while True:
        while len(buffer) < 4 or len(buffer) < 4 + struct.unpack_from('<I', buffer)[0]:
            more = os.read(source, 65536)
            if not more:
                os._exit(0)
            buffer += more
        end = 4 + struct.unpack_from('<I', buffer)[0]
        answer = dumps(main(json.loads(buffer[4:end]), None)).encode()
        buffer = buffer[end:]
        os.write(sink, struct.pack('<I', len(answer)) + answer)


if __name__ == '__main__':
    sys.path.insert(0, sys.argv[1])
    from main import main
    serve(main, 0, 1)
