"""The other side of crates/wire/tests/tesla_python.rs.

    tesla_oracle.py encode   prints a JSON line a message: {"topic", "envelope": hex, "payload": hex}
    tesla_oracle.py decode   reads a hex line an envelope, prints what the libraries read of it as a JSON line
"""

import json
import sys

from google.protobuf import json_format

import tesla_messages as tesla

NOON = 1_772_366_400
SENDER = "vehicle_device.LRW3E7FA8MC000001"


def messages():
    vitals = tesla.Payload(vin="LRW3E7FA8MC000001", is_resend=True)
    vitals.created_at.seconds = NOON
    vitals.created_at.nanos = 250_000_000
    vitals.data.add(key=4).value.float_value = 60.5
    vitals.data.add(key=5).value.string_value = "12345.678"
    vitals.data.add(key=8).value.invalid = True
    vitals.data.add(key=10).value.enumeration_9 = 5
    place = vitals.data.add(key=21).value.location_value
    place.latitude, place.longitude = 31.2304, 121.4737
    vitals.data.add(key=23).value.int_value = 270
    doors = vitals.data.add(key=58).value.door_value
    doors.DriverFront = doors.TrunkRear = True
    vitals.data.add(key=13).value.boolean_value = False
    vitals.data.add(key=224).value.tire_location_value.semi_rear_axle_right_2 = True
    time = vitals.data.add(key=46).value.time_value
    time.hour, time.minute, time.second = 7, 5, 9
    vitals.data.add(key=44).value.long_value = -(2**40)
    vitals.data.add(key=6).value.double_value = 398.25
    yield "V", vitals
    alerts = tesla.VehicleAlerts()
    alert = alerts.alerts.add(name="Overheated", audiences=[1, 3])
    alert.started_at.seconds = NOON * 1000  # milliseconds, as some firmware has it
    alert.ended_at.seconds = NOON + 1
    yield "alerts", alerts
    errors = tesla.VehicleErrors()
    error = errors.errors.add(name="Crash", body="it broke", tags={"part": "gps"})
    error.created_at.seconds = NOON
    yield "errors", errors
    metrics = tesla.VehicleMetrics()
    metrics.metrics.add(name="load", value=0.25, tags={"core": "0"})
    metrics.created_at.seconds = NOON
    yield "metrics", metrics
    connectivity = tesla.VehicleConnectivity(connection_id="c-1", status=2, network_interface="wifi")
    connectivity.created_at.seconds = NOON
    yield "connectivity", connectivity


def encode():
    for topic, message in messages():
        payload = message.SerializeToString(deterministic=True)
        envelope = tesla.stream_envelope("txid-1", topic, SENDER, payload, NOON, NOON * 1000)
        print(json.dumps({"topic": topic, "envelope": envelope.hex(), "payload": payload.hex()}))
    print(json.dumps({"topic": "ack", "envelope": tesla.reference_ack("txid-1", "V").hex(), "payload": ""}))


def decode():
    for line in sys.stdin:
        envelope = tesla.read_envelope(bytes.fromhex(line.strip()))
        payload = envelope.pop("payload", b"")
        message_class = tesla.TOPICS.get(envelope["topic"])
        if envelope["tag"] == tesla.TAG_STREAM and message_class:
            message = message_class.FromString(payload)
            envelope["message"] = json_format.MessageToDict(message, preserving_proto_field_name=True)
        else:
            envelope["text"] = payload.decode()
        print(json.dumps(envelope))


if __name__ == "__main__":
    {"encode": encode, "decode": decode}[sys.argv[1]]()
