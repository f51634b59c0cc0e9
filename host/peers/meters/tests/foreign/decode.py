# SPDX-License-Identifier: MIT OR Apache-2.0
"""Decodes a telegram, given in hex, with a library that is none of ours; prints one line per number."""
import sys
from decimal import Decimal
kind, data = sys.argv[1], bytes.fromhex(sys.stdin.read())
if kind == "sml":
    from smllib import SmlStreamReader
    reader = SmlStreamReader(crc=sys.argv[2])
    reader.add(data)
    for message in reader.get_frame().parse_frame():
        for entry in getattr(message.message_body, "val_list", []):
            if entry.scaler is not None or entry.unit is not None:
                print(entry.obis.obis_code, Decimal(entry.value).scaleb(entry.scaler or 0))
elif kind == "mbus":
    import meterbus
    telegram = meterbus.load(data)
    # The last one only says that another telegram follows.
    for record in (record for record in telegram.records if record.value is not None):
        print(record.unit, record.value)
else:
    from dsmr_parser import telegram_specifications
    from dsmr_parser.parsers import TelegramParser
    telegram = TelegramParser(telegram_specifications.V5).parse(data.decode("ascii"))
    for name, value in telegram:
        print(name, value.value)
