"""Builds GB/T 32960 frames with the independent package rtm-con and prints one JSON object a line:
{"hex": the frame, "values": what was put in}. The same seed gives the same frames.

usage: rtm_con_frames.py [SEED [COUNT]]
"""

import json
import random
import sys
from datetime import datetime, timedelta, timezone

from rtm_con import msg_checked

FLAGS_2016 = [
    "temp_differentce_warning", "pack_high_temp_warning", "pack_over_volt_warning", "pack_under_volt_warning",
    "soc_low_warning", "cell_over_volt_warning", "cell_under_volt_warning", "soc_high_warning", "soc_jump_warning",
    "pack_unmatched_warning", "cell_poor_consistency_warning", "insulation_warning", "dcdc_temp_warning",
    "brake_system_wanring", "dcdc_state_warning", "emotor_driver_temp_warning", "hv_interlock_warning",
    "emotor_temp_warning", "pack_over_charged_warning",
]
FLAGS_2025 = FLAGS_2016 + [
    "emotor_over_speed_warning", "emotor_over_curr_warning", "super_capacitor_over_temp_warning",
    "super_capacitor_over_pressure_warning", "pack_thermal_event_warning", "hydrogen_leakage_warning",
    "hydrogen_system_presure_abnormal_warning", "hydrogen_system_temp_abnormal_warning",
    "fuel_cell_stack_over_temp_warning",
]
GEARS = ["N", "R", "D", "P"] + [f"gp{number}" for number in range(1, 13)]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def scaled(self, unit, raw_max, divisor=1, offset=0):
        """A value of a field whose raw number goes from 0 to raw_max, as text with its unit."""
        return f"{round(self.random.randint(0, raw_max) / divisor + offset, 6)} {unit}"

    def choice(self, *names):
        return self.random.choice(names)

    def hexadecimal(self, count):
        return self.random.randbytes(count).hex()

    def ascii(self, count):
        return "".join(self.random.choices("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", k=count))

    def time(self):
        seconds = self.random.randint(0, 20 * 365 * 86_400)
        return datetime(2016, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)

    def vehicle(self, version):
        gear = {
            "driving_force": self.random.randint(0, 1),
            "braking_force": self.random.randint(0, 1),
            "gear": self.random.choice(GEARS),
        }
        item = {
            "vehicle_state": self.choice("on", "off", "other", "abnormal", "invalid"),
            "charge_state": self.choice(
                "parking_charging", "driving_charging", "uncharged", "completed_charging", "abnormal", "invalid"
            ),
            "operate_state": self.choice("pure_electric", "hybrid", "fuel", "abnormal", "invalid"),
            "vehicle_speed": self.scaled("km/h", 2200, 10),
            "mileage_total": self.scaled("km", 9_999_999, 10),
            "voltage_total": self.scaled("V", 10_000, 10),
            "current_total": self.scaled("A", 20_000, 10, -1000 if version == 2016 else -3000),
            "soc": self.scaled("%", 100),
            "dcdc_state": self.choice("on", "off", "abnormal", "invalid"),
            "gear_state": gear,
            "insulation_resistance": self.scaled("kΩ", 60_000),
        }
        if version == 2016:
            item["accelerator_padel"] = self.scaled("%", 100)
            item["brake_padel"] = self.scaled("%", 101)
        else:
            gear["gear_postion_validity"] = self.choice("valid", "invalid")
        return "whole_vehicle", item

    def motors(self, version):
        motors = []
        for index in range(1, self.random.randint(1, 4) + 1):
            motor = {
                "index": index,
                "state": self.choice("consuming_power", "generating_power", "off", "idle", "abnormal", "invalid"),
                "ctrl_temp": self.scaled("℃", 250, 1, -40),
                "speed": self.scaled("rpm", 65_531, 1, -20_000 if version == 2016 else -32_000),
                "temp": self.scaled("℃", 250, 1, -40),
            }
            if version == 2016:
                motor["torque"] = self.scaled("N·m", 65_531, 10, -2000)
                motor["ctrl_volt"] = self.scaled("V", 60_000, 10)
                motor["ctrl_curr"] = self.scaled("A", 20_000, 10, -1000)
            else:
                motor["torque"] = self.scaled("N·m", 400_000, 10, -20_000)
            motors.append(motor)
        return "emotor", motors

    def engine(self, version):
        item = {"engine_torque": self.scaled("rpm", 60_000)}
        if version == 2016:
            item["engine_state"] = self.choice("on", "off", "abnormal", "invalid")
            item["fuel_consumption"] = self.scaled("L/100km", 60_000, 100)
        return "engine", item

    def place(self, version):
        state = {
            "gnss_e_w": self.choice("e", "w"),
            "gnss_n_s": self.choice("n", "s"),
            "gnss_valid": self.random.randint(0, 1),
        }
        item = {
            "gnss_state": state,
            "gnss_lng": self.scaled("°", 180_000_000, 1_000_000),
            "gnss_lat": self.scaled("°", 90_000_000, 1_000_000),
        }
        if version == 2025:
            item["gnss_gcs"] = self.choice("wgs84", "gcj02", "other")
        return "gnss", item

    def extremes(self, _version):
        item = {}
        for bound in ("max", "min"):
            item[f"{bound}_volt_pack_index"] = self.scaled("", 250).strip()
            item[f"{bound}_volt_cell_index"] = self.scaled("", 250).strip()
            item[f"{bound}_cell_volt"] = self.scaled("V", 15_000, 1_000)
            item[f"{bound}_temp_pack_index"] = self.scaled("", 250).strip()
            item[f"{bound}_temp_cell_index"] = self.scaled("", 250).strip()
            item[f"{bound}_cell_temp"] = self.scaled("℃", 250, 1, -40)
        return "pack_extrema", item

    def warnings(self, version):
        flags = FLAGS_2016 if version == 2016 else FLAGS_2025
        item = {
            "max_warning_level": self.random.randint(0, 3),
            "general_warnings": {name: self.random.randint(0, 1) for name in flags},
        }
        for name in ("pack_failures", "emotor_failures", "engine_failures", "other_failures"):
            item[name] = [self.hexadecimal(4) for _ in range(self.random.randint(0, 5))]
        if version == 2025:
            count = self.random.randint(0, 5)
            item["general_warning_list"] = [
                {"warning": self.random.choice(flags), "level": self.random.randint(0, 4)} for _ in range(count)
            ]
        return "warnings", item

    def cell_volts(self, version):
        packs = []
        for index in range(1, self.random.randint(1, 4) + 1):
            cells = [self.scaled("V", 60_000, 1_000) for _ in range(self.random.randint(0, 200))]
            pack = {
                "index": str(index),
                "volt": self.scaled("V", 10_000, 10),
                "curr": self.scaled("V", 20_000 if version == 2016 else 60_000, 10, -3000),
                "cell_volts": cells,
            }
            if version == 2016:
                pack["cell_total"] = str(len(cells))
                pack["cell_start_index"] = 1
            packs.append(pack)
        return "cell_volts", packs

    def probe_temps(self, _version):
        packs = []
        for index in range(1, self.random.randint(1, 4) + 1):
            probes = [self.scaled("℃", 250, 1, -40) for _ in range(self.random.randint(0, 100))]
            packs.append({"index": str(index), "probe_temps": probes})
        return "probe_temps", packs

    def custom(self, _version):
        return self.random.randint(0x80, 0xFE), self.hexadecimal(self.random.randint(0, 40))

    def data(self, version):
        makers = [
            self.vehicle, self.motors, self.engine, self.place, self.warnings, self.cell_volts, self.probe_temps,
            self.custom,
        ]
        if version == 2016:
            makers.append(self.extremes)
        self.random.shuffle(makers)
        chosen = makers[: self.random.randint(1, len(makers))]
        items = [maker(version) for maker in chosen]
        payload = {
            "timestamp": self.time(),
            "data_list": [{"data_type": kind, "data_content": content} for kind, content in items],
        }
        if version == 2025:
            payload["sig_starter"] = "ff"
            payload["sig"] = self.signature()
        return payload

    def signature(self):
        return {
            "algo": self.choice("sm2", "rsa", "ecc"),
            "r_value": self.hexadecimal(self.random.choice([32, 256])),
            "s_value": self.hexadecimal(self.random.choice([0, 32])),
        }

    def session(self, **more):
        return {"timestamp": self.time(), "session_id": self.random.randint(1, 65_531), **more}

    def login(self, version):
        iccid = "89" + "".join(self.random.choices("0123456789", k=18))
        if version == 2016:
            total, length = self.random.randint(0, 8), self.random.randint(1, 50)
            codes = [self.ascii(length) for _ in range(total)]
            return self.session(iccid=iccid, bms_total=total, pack_sn_len=length, pack_sn=codes)
        packs = [self.random.randint(0, 4) for _ in range(self.random.randint(0, 5))]
        codes = [[self.ascii(24) for _ in range(count)] for count in packs]
        return self.session(iccid=iccid, bms_total=len(packs), pack_per_bms=packs, pack_sn_list=codes)

    def platform_login(self):
        username, password = self.ascii(self.random.randint(1, 12)), self.ascii(self.random.randint(1, 20))
        return self.session(username=username, password=password, enc="uncrypted")

    def message(self):
        version = self.random.choice([2016, 2025])
        commands = {
            "login": lambda: self.login(version),
            "realtime": lambda: self.data(version),
            "supplimentary": lambda: self.data(version),
            "logout": self.session,
            "plt_login": self.platform_login,
            "plt_logout": self.session,
        }
        if version == 2025:
            commands["activation"] = lambda: {
                "timestamp": self.time(),
                "sec_chip_id": self.ascii(16),
                "pubkey": self.hexadecimal(65),
                "vin": self.ascii(17),
                "sig": self.signature(),
            }
            commands["activation_response"] = lambda: {
                "activation_result": self.choice("ok", "nok"),
                "activation_info": self.choice("ok", "sec_chip_used", "vin_duplicate"),
            }
            commands["payload_key_sync"] = lambda: {
                "payload_enc": "aes",
                "payload_key_len": 16,
                "payload_key": self.hexadecimal(16),
                "key_starttime": self.time(),
                "key_endtime": self.time(),
            }
        command = self.random.choice(list(commands))
        ack = "command"
        payload = commands[command]()
        if self.random.random() < 0.1 and "timestamp" in payload and command != "activation_response":
            ack = self.choice("ok", "nok", "vin_duplicate", "vin_unkown")
            payload = {"timestamp": self.time()}
        return {
            "starter": f"protocol_{version}",
            "msg_type": command,
            "ack": ack,
            "vin": self.ascii(17),
            "enc": "uncrypted",
            "payload": payload,
        }


def as_text(value):
    return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    maker = Maker(seed)
    for _ in range(count):
        values = maker.message()
        frame = msg_checked.build(values)
        print(json.dumps({"hex": frame.hex(), "values": values}, ensure_ascii=False, default=as_text))


if __name__ == "__main__":
    main()
