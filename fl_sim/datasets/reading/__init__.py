"""Reads files of images and arrays safely: sizes are checked before anything is unpacked, pictures before decoding."""
