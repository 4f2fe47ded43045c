# Pipeline of the strong recipe for cephalograms at 640x512, for a leaf on top of isbi2015.py.
strong_load = [dict(type="LoadImage", size=(960, 768), channels=1), dict(type="Resize", size=(640, 512))]
strong_augmented = [
    dict(type="RandomAffine", rotation=12, scale=0.12, shift=48 / 512),
    dict(type="RandomElastic", amplitude=9 / 512, prob=0.5),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.7, 1.43)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.2),
    dict(type="RandomNoise", prob=0.5),
    dict(type="PackInputs"),
]
