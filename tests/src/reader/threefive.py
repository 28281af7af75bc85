"""Reads sections of SCTE-35 with threefive3 from a file: one a line, in base64, in hexadecimal, or an
XML element.

Writes one line of JSON for each: what it says, and itself in base64 as threefive3 writes it."""

import json
import sys

from threefive3 import Cue

for line in open(sys.argv[1], encoding="utf-8"):
    cue = Cue(line.strip())
    cue.decode()
    said = cue.get()
    said = {key: said[key] for key in ("info_section", "command", "descriptors")}
    print(json.dumps({**said, "base64": cue.base64()}, default=str))
