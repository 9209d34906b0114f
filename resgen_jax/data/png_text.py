"""PNG files without their text, which no picture needs and which may unpack to anything."""

import struct

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # and the colour profile, packed as text is
# By their keywords: where the orientation of a picture may stand.
KEPT = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
MOST_KEPT = 4  # chunks of these; the format allows one of each
CHUNK = struct.Struct(">I4s")  # the length of the content, which a checksum follows, and the kind


def without(encoded: bytes) -> bytes:
    """The file with all chunks but those of text, up to where it is no PNG any more."""
    if not encoded.startswith(SIGNATURE) or not any(kind in encoded for kind in TEXT):
        return encoded
    parts, num_kept, start, place = [], 0, 0, len(SIGNATURE)
    while place + CHUNK.size <= len(encoded):
        length, kind = CHUNK.unpack_from(encoded, place)
        content, end = place + CHUNK.size, place + CHUNK.size + length + 4
        if kind in TEXT:
            num_kept += encoded.startswith(KEPT, content)
            if num_kept > MOST_KEPT or not encoded.startswith(KEPT, content):
                parts.append(encoded[start:place])
                start = end
        place = end
    return b"".join([*parts, encoded[start:]])
