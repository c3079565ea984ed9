"""Safe reading of files of images and arrays: sizes are checked before anything is unpacked or decoded."""
