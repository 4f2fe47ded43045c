"""One small file per family of image formats; ``image_io.read_image`` and ``image_files.image_shape`` choose.

A file is known by its content. Its suffix counts only where content says nothing.
"""
