"""Tesla Fleet Telemetry messages by the `flatbuffers` and `protobuf` packages: an implementation that shares nothing with ours.

The protobuf messages are described here in code, so that no compiler is needed; numbers and types are the public format's.
"""

import flatbuffers
import flatbuffers.number_types as number_types
import flatbuffers.table
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

TAG_STREAM = 4
TAG_ACK = 5

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _FIELD.TYPE_STRING,
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
    "bool": _FIELD.TYPE_BOOL,
}

# Kinds of the one-of `Value` whose number is an enumeration's; on the wire that is an int32. 20 isn't used.
ENUMERATION_KINDS = [8, 9, *range(11, 20), *range(22, 31), *range(32, 39), *range(40, 55)]


def _add_message(file, name, fields, one_of=None):
    """Describes a message: fields are (number, type, name); a type may be `repeated X`, a message's name or a timestamp."""
    message = file.message_type.add(name=name)
    if one_of:
        message.oneof_decl.add(name=one_of)
    for number, kind, field_name in fields:
        repeated = kind.startswith("repeated ")
        kind = kind.removeprefix("repeated ")
        field = message.field.add(
            name=field_name, number=number, label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
        )
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        elif kind == "tags":
            entry = message.nested_type.add(name="TagsEntry")
            entry.options.map_entry = True
            for entry_number, entry_name in ((1, "key"), (2, "value")):
                entry.field.add(
                    name=entry_name, number=entry_number, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL
                )
            field.type, field.label = _FIELD.TYPE_MESSAGE, _FIELD.LABEL_REPEATED
            field.type_name = f".oracle.{name}.TagsEntry"
        else:
            field.type = _FIELD.TYPE_MESSAGE
            field.type_name = ".google.protobuf.Timestamp" if kind == "Timestamp" else f".oracle.{kind}"
        if one_of:
            field.oneof_index = 0


def _describe():
    file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", package="oracle", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    doors = ["DriverFront", "DriverRear", "PassengerFront", "PassengerRear", "TrunkFront", "TrunkRear"]
    tires = [
        "front_left", "front_right", "rear_left", "rear_right", "semi_middle_axle_left_2",
        "semi_middle_axle_right_2", "semi_rear_axle_left", "semi_rear_axle_right", "semi_rear_axle_left_2",
        "semi_rear_axle_right_2",
    ]  # fmt: skip
    _add_message(file, "LocationValue", [(1, "double", "latitude"), (2, "double", "longitude")])
    _add_message(file, "Doors", [(n, "bool", name) for n, name in enumerate(doors, 1)])
    _add_message(file, "TireLocation", [(n, "bool", name) for n, name in enumerate(tires, 1)])
    _add_message(file, "Time", [(1, "int32", "hour"), (2, "int32", "minute"), (3, "int32", "second")])
    kinds = [
        (1, "string", "string_value"), (2, "int32", "int_value"), (3, "int64", "long_value"),
        (4, "float", "float_value"), (5, "double", "double_value"), (6, "bool", "boolean_value"),
        (7, "LocationValue", "location_value"), (10, "bool", "invalid"), (21, "Doors", "door_value"),
        (31, "Time", "time_value"), (39, "TireLocation", "tire_location_value"),
    ]  # fmt: skip
    kinds += [(n, "int32", f"enumeration_{n}") for n in ENUMERATION_KINDS]
    _add_message(file, "Value", kinds, one_of="value")
    _add_message(file, "Datum", [(1, "int32", "key"), (2, "Value", "value")])
    ending = [(2, "Timestamp", "created_at"), (3, "string", "vin")]
    _add_message(file, "Payload", [(1, "repeated Datum", "data"), *ending, (4, "bool", "is_resend")])
    _add_message(
        file,
        "VehicleAlert",
        [(1, "string", "name"), (2, "repeated int32", "audiences"), (3, "Timestamp", "started_at"),
         (4, "Timestamp", "ended_at")],
    )  # fmt: skip
    _add_message(file, "VehicleAlerts", [(1, "repeated VehicleAlert", "alerts"), *ending])
    _add_message(
        file,
        "VehicleError",
        [(1, "Timestamp", "created_at"), (2, "string", "name"), (3, "tags", "tags"), (4, "string", "body")],
    )
    _add_message(file, "VehicleErrors", [(1, "repeated VehicleError", "errors"), *ending])
    _add_message(file, "Metric", [(1, "string", "name"), (2, "tags", "tags"), (3, "double", "value")])
    _add_message(file, "VehicleMetrics", [(1, "repeated Metric", "metrics"), *ending])
    _add_message(
        file,
        "VehicleConnectivity",
        [(1, "string", "vin"), (2, "string", "connection_id"), (3, "int32", "status"), (4, "Timestamp", "created_at"),
         (5, "string", "network_interface")],
    )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"oracle.{name}"))


_class = _describe()
Payload = _class("Payload")
VehicleAlerts = _class("VehicleAlerts")
VehicleErrors = _class("VehicleErrors")
VehicleMetrics = _class("VehicleMetrics")
VehicleConnectivity = _class("VehicleConnectivity")
TOPICS = {
    "V": Payload,
    "alerts": VehicleAlerts,
    "errors": VehicleErrors,
    "metrics": VehicleMetrics,
    "connectivity": VehicleConnectivity,
}


def stream_envelope(txid, topic, sender_id, payload, created_at, delivered_at_ms=0):
    """A vehicle's message, built back to front as the FlatBuffers library does it."""
    builder = flatbuffers.Builder(512)
    device_type, device_id = sender_id.split(".", 1)
    vectors = [builder.CreateByteVector(text.encode()) for text in (sender_id, device_type, device_id)]
    payload_vector = builder.CreateByteVector(payload)
    builder.StartObject(6)
    builder.PrependUint32Slot(0, created_at, 0)
    builder.PrependUOffsetTRelativeSlot(1, vectors[0], 0)
    builder.PrependUOffsetTRelativeSlot(2, payload_vector, 0)
    builder.PrependUOffsetTRelativeSlot(3, vectors[1], 0)
    builder.PrependUOffsetTRelativeSlot(4, vectors[2], 0)
    builder.PrependUint64Slot(5, delivered_at_ms, 0)
    stream = builder.EndObject()
    txid_vector = builder.CreateByteVector(txid.encode())
    topic_vector = builder.CreateByteVector(topic.encode())
    message_id = builder.CreateByteVector(txid.encode())
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, txid_vector, 0)
    builder.PrependUOffsetTRelativeSlot(1, topic_vector, 0)
    builder.PrependUint8Slot(2, TAG_STREAM, 0)
    builder.PrependUOffsetTRelativeSlot(3, stream, 0)
    builder.PrependUOffsetTRelativeSlot(4, message_id, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def reference_ack(txid, topic):
    """An ack as the reference server writes it: the union's value is an empty byte vector."""
    builder = flatbuffers.Builder(64)
    value = builder.CreateByteVector(b"")
    txid_vector = builder.CreateByteVector(txid.encode())
    topic_vector = builder.CreateByteVector(topic.encode())
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, txid_vector, 0)
    builder.PrependUOffsetTRelativeSlot(1, topic_vector, 0)
    builder.PrependUint8Slot(2, TAG_ACK, 0)
    builder.PrependUOffsetTRelativeSlot(3, value, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _vector(table, slot):
    offset = table.Offset(4 + 2 * slot)
    if not offset:
        return b""
    start = table.Vector(offset)
    return bytes(table.Bytes[start : start + table.VectorLen(offset)])


def _scalar(table, slot, flags):
    offset = table.Offset(4 + 2 * slot)
    return table.Get(flags, offset + table.Pos) if offset else 0


def read_envelope(data):
    """An envelope as a dictionary; a stream's payload as bytes."""
    root = flatbuffers.table.Table(bytearray(data), int.from_bytes(data[:4], "little"))
    envelope = {
        "txid": _vector(root, 0).decode(),
        "topic": _vector(root, 1).decode(),
        "tag": _scalar(root, 2, number_types.Uint8Flags),
        "message_id": _vector(root, 4).decode(),
    }
    offset = root.Offset(4 + 2 * 3)
    if offset:
        # A table with all that a generated reader of it does: its vtable is looked up, its fields are read.
        inner = flatbuffers.table.Table(root.Bytes, root.Indirect(root.Pos + offset))
        envelope["created_at"] = _scalar(inner, 0, number_types.Uint32Flags)
        envelope["sender_id"] = _vector(inner, 1).decode()
        envelope["payload"] = _vector(inner, 2)
        envelope["device_type"] = _vector(inner, 3).decode()
        envelope["device_id"] = _vector(inner, 4).decode()
        envelope["delivered_at_epoch_ms"] = _scalar(inner, 5, number_types.Uint64Flags)
    return envelope
