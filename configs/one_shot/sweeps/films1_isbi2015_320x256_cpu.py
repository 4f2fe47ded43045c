# One annotated cephalogram, 149 others without annotation, at a size for a few CPU cores. Two networks learn
# embeddings; from one of them all other arms go on, with about 500 steps of 8 films each, of all landmarks
# together.
config = "../cc2d_efficientnet-lite0_isbi2015_320x256_cpu.py"
seeds = [0]
baseline = "cc2d-64"

family = "../{}_efficientnet-lite0_isbi2015_320x256_cpu.py"
labels = {"labeller": "cc2d-64"}
# Three that err differently: their median, as a detector and as the teacher of a student.
teachers = ("untrained", "cc2d", "cc2d-64")
ensembles = {"median-of-three": {"arms": teachers, "average": "median"}}
start = {"load_from": "cc2d-64"}
# ImageNet features as they are: nothing learns.
still = {
    "model.neck": None,
    "model.backbone.norm_eval": True,
    "optim_wrapper.optimizer.lr": 0.0,
    "param_scheduler": [],
    "train_dataloader.dataset.indices": 8,
    "train_cfg.max_epochs": 1,
}
one_copy = {"model.head.num_templates": 1, "custom_hooks.0.template.times": 1}
# More annotated films, as `mmlandmark select-template --annotated 125` chooses them of the 150 for training.
chosen = ["125", "102", "030", "124", "076", "139", "064", "016", "058", "066"]
arms = {
    "untrained": still,
    "cc2d": {"model.patches.points": 1},
    "cc2d-64": {},
    # Tested with the template as it is.
    "cc2d-64_one-copy": {"trained_as": "cc2d-64", **one_copy},
    # On and on, as long as the others.
    "cc2d-64_longer": {"inputs": start},
    "cc2d-tpl": {"config": family.format("cc2d-tpl"), "inputs": labels},
    "student": {"config": family.format("student"), "inputs": labels},
    "student-of-three": {"config": family.format("student"), "inputs": {"labeller": [*teachers]}},
    "student-again": {"config": family.format("student"), "inputs": {"labeller": "student"}},
    # Three landmarks.
    "sla": {"config": family.format("sla"), "inputs": start},
    "sla-atd": {"config": family.format("sla-atd"), "inputs": start},
    # All of them in one model, without and with a part of each.
    "joint": {"config": family.format("c-adapter"), "inputs": start, "model.neck.adapter_channels": 0},
    "c-adapter": {"config": family.format("c-adapter"), "inputs": start},
}
for shots, copies in ((3, 8), (5, 4), (10, 2)):
    arms[f"cc2d-64_shots{shots}"] = {
        "trained_as": "cc2d-64",
        "model.head.num_templates": shots * copies,
        "custom_hooks.0.template.times": copies,
        "custom_hooks.0.template.dataset.ids": chosen[:shots],
    }
for shots in (1, 3, 5, 10):
    arms[f"supervised_shots{shots}"] = {
        "config": family.format("supervised"),
        "train_dataloader.dataset.times": 200 // shots,
        "train_dataloader.dataset.dataset.ids": chosen[:shots],
    }
