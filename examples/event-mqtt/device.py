"""A device: publishes one message with QoS 1 (MQTT 3.1.1), as small as can be."""
import socket
import sys

topic, message = (a.encode() for a in sys.argv[1:3])
connect = b'\x00\x04MQTT\x04\x02\x00\x3c\x00\x06device'
publish = len(topic).to_bytes(2, 'big') + topic + b'\x00\x01' + message
with socket.create_connection(('127.0.0.1', 18830)) as broker:
    broker.sendall(bytes([0x10, len(connect)]) + connect)
    assert broker.recv(4)[3] == 0, 'refused'
    broker.sendall(bytes([0x32, len(publish)]) + publish)
    assert broker.recv(4)[0] == 0x40, 'not acknowledged'
