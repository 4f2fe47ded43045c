# films20_isbi2015_256x192_cpu.py with 50 annotated films, of which those 20 are a part.
_base_ = ["./films20_isbi2015_256x192_cpu.py"]

more = {
    "train_dataloader.dataset.times": 4,
    "train_dataloader.dataset.dataset.indices": [index for index in range(150) if index % 3 == 0],
}
arms = {name: more for name in _base_.arms}
