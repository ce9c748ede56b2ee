"""A vehicle that speaks Tesla Fleet Telemetry with `websockets`, `flatbuffers` and `protobuf`, to be run against a center.

    tesla_client.py 127.0.0.1:8443 LRW3E7FA8MC000001 --cert v.crt --key v.key --ca center-ca.pem --count 20 [--strings]

Sends `count` messages of topic V with one value of each type (typed, or all as texts with --strings), then one message each of the
other topics, and waits for an ack of each. Prints one JSON line a message sent and one an answer, and at last a summary; ends with 1
unless every message was acked. Each value of a run differs from the others, so that they can be told apart in SQL.
"""

import argparse
import asyncio
import json
import ssl
import sys
import time
import uuid

import websockets

import tesla_messages as tesla

# Field numbers of the public format.
VEHICLE_SPEED, ODOMETER, SOC, GEAR, BRAKE_PEDAL, LOCATION, GPS_HEADING = 4, 5, 8, 10, 13, 21, 23
DOOR_STATE, VEHICLE_NAME = 58, 64
GEAR_D = 5


def vitals(index, at, strings, name):
    """The payload of message `index`, and what it says in plain words."""
    values = {
        "VehicleSpeed": 20 + index / 4,  # mph, exact as a float
        "Odometer": 10_000 + index / 8,  # miles
        "Location": [31.2304 + index / 1024, 121.4737 - index / 1024],
        "GpsHeading": index % 360,
        "Gear": "D",
        "BrakePedal": index % 2 == 1,
        "VehicleName": f"{name} {index}",
        "DoorState": ["DriverFront"] if index % 2 else [],
        "Soc": None,
    }
    payload = tesla.Payload(vin="LRW3E7FA8MC999999")  # not to be trusted
    payload.created_at.FromMicroseconds(round(at * 1e6))
    latitude, longitude = values["Location"]
    if strings:
        texts = {
            VEHICLE_SPEED: repr(values["VehicleSpeed"]),
            ODOMETER: f"{values['Odometer']:.17e}",
            LOCATION: f"({latitude!r} N, {longitude!r} E)",
            GPS_HEADING: str(values["GpsHeading"]),
            GEAR: "ShiftStateD",
            BRAKE_PEDAL: "true" if values["BrakePedal"] else "false",
            VEHICLE_NAME: values["VehicleName"],
            DOOR_STATE: "|".join(values["DoorState"]),
            SOC: "<invalid>",
        }
        for field, text in texts.items():
            payload.data.add(key=field).value.string_value = text
        return payload, values
    payload.data.add(key=VEHICLE_SPEED).value.float_value = values["VehicleSpeed"]
    payload.data.add(key=ODOMETER).value.double_value = values["Odometer"]
    place = payload.data.add(key=LOCATION).value.location_value
    place.latitude, place.longitude = latitude, longitude
    payload.data.add(key=GPS_HEADING).value.int_value = values["GpsHeading"]
    payload.data.add(key=GEAR).value.enumeration_9 = GEAR_D
    payload.data.add(key=BRAKE_PEDAL).value.boolean_value = values["BrakePedal"]
    payload.data.add(key=VEHICLE_NAME).value.string_value = values["VehicleName"]
    doors = payload.data.add(key=DOOR_STATE).value.door_value
    doors.SetInParent()
    for door in values["DoorState"]:
        setattr(doors, door, True)
    payload.data.add(key=SOC).value.invalid = True
    return payload, values


def notices(at):
    """A message of each other topic."""
    alerts = tesla.VehicleAlerts()
    alert = alerts.alerts.add(name="PythonAlert", audiences=[1])
    alert.started_at.seconds = int(at) * 1000  # milliseconds in the seconds, as some firmware has it
    yield "alerts", alerts
    errors = tesla.VehicleErrors()
    error = errors.errors.add(name="PythonError", body="a body", tags={"part": "gps"})
    error.created_at.seconds = int(at)
    yield "errors", errors
    metrics = tesla.VehicleMetrics()
    metrics.metrics.add(name="PythonMetric", value=0.25, tags={"core": "0"})
    metrics.created_at.seconds = int(at)
    yield "metrics", metrics
    connectivity = tesla.VehicleConnectivity(connection_id="python", status=1, network_interface="wifi")
    connectivity.created_at.seconds = int(at)
    yield "connectivity", connectivity


def tls(arguments):
    context = ssl.create_default_context(cafile=arguments.ca)
    context.load_cert_chain(arguments.cert, arguments.key)
    return context


def say(**line):
    print(json.dumps(line), flush=True)


async def send_all(socket, arguments):
    """Sends everything and returns the ids that are to be acked."""
    sender = f"vehicle_device.{arguments.vin}"
    waiting = set()

    async def send(topic, message, **line):
        txid = str(uuid.uuid4())
        waiting.add(txid)
        payload = message.SerializeToString()
        await socket.send(tesla.stream_envelope(txid, topic, sender, payload, int(at), int(at * 1000)))
        say(sent=txid, topic=topic, time=at, **line)

    for index in range(arguments.count):
        # Milliseconds apart, so that no two messages are of one instant.
        at = round(arguments.start + index / 1000, 3)
        payload, values = vitals(index, at, arguments.strings, arguments.name)
        await send("V", payload, values=values)
    at = arguments.start
    for topic, message in notices(at):
        await send(topic, message)
    return waiting


async def run(arguments):
    headers = {"X-TXID": str(uuid.uuid4()), "X-Network-Interface": "wifi", "Version": "python-1"}
    host = arguments.address.rsplit(":", 1)[0]
    connection = websockets.connect(
        f"wss://{arguments.address}/",
        ssl=tls(arguments),
        server_hostname=arguments.server_name or host,
        additional_headers=headers,
        compression=None,
        ping_interval=None,
    )
    acked, refused = 0, 0
    async with connection as socket:
        waiting = await send_all(socket, arguments)
        while waiting:
            answer = tesla.read_envelope(await asyncio.wait_for(socket.recv(), arguments.timeout))
            known = answer["txid"] in waiting
            waiting.discard(answer["txid"])
            if answer["tag"] == tesla.TAG_ACK and known:
                acked += 1
                say(acked=answer["txid"], topic=answer["topic"])
            else:
                refused += 1
                say(refused=answer["txid"], text=answer.get("payload", b"").decode(errors="replace"))
    say(summary=True, acked=acked, refused=refused)
    return 0 if refused == 0 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="host:port of the center's Tesla listener")
    parser.add_argument("vin", help="the vehicle's VIN, the common name of its certificate")
    parser.add_argument("--cert", required=True, help="the vehicle's certificate (PEM, with its chain)")
    parser.add_argument("--key", required=True, help="its key (PEM)")
    parser.add_argument("--ca", required=True, help="the authority of the center's own certificate (PEM)")
    parser.add_argument("--count", type=int, default=10, help="messages of topic V")
    parser.add_argument("--strings", action="store_true", help="send every value as a text, as older firmware does")
    parser.add_argument("--name", default="car", help="what the vehicle's name begins with")
    parser.add_argument("--server-name", help="the name that the center's certificate carries, if not the address's host")
    parser.add_argument("--start", type=float, default=None, help="time of the first message, epoch seconds; now")
    parser.add_argument("--timeout", type=float, default=10, help="seconds to wait for each answer")
    arguments = parser.parse_args()
    arguments.start = time.time() if arguments.start is None else arguments.start
    sys.exit(asyncio.run(run(arguments)))


if __name__ == "__main__":
    main()
