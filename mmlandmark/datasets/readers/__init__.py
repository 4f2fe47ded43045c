"""One small file per family of image formats; ``image_io.read_image`` and ``image_files.image_shape`` choose.

The content of a file decides about its format; the suffix matters only if the content is ambiguous.
"""
