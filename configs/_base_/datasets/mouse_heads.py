# Micro-CT of 20 mouse heads with 45 landmarks (Maga et al. 2017), as they are distributed with MALPACA. Set
# MOUSE_HEADS_ROOT to the folder with targets (NIfTI) and target_LMs (markups of 3D Slicer).
data_root = "{{$MOUSE_HEADS_ROOT:data/mouse_ct_3d}}"
# In the order of the strains' names 12, 2 and 6: twins such as C57BL6_J and C57BL_6NJ are in training and
# validation only. A last underscore belongs to the names.
train_ids = [
    *("129S1_SVLMJ_", "129X1_SVJ_", "AKR_J_", "A_J_", "B6AF1_J_", "B6D2F1_J_", "BALB_CBYJ_", "BALB_CJ_"),
    *("BTBR_T_Itpr3tf_j_", "C3H_HEJ_", "C3H_HEOUJ_", "C57BL6_J_"),
]
val_ids = ["C57BL_10J_", "C57BL_6NJ_"]
few_ids = [*train_ids, *val_ids][::3]  # 5 of them, where only a few are annotated
test_ids = ["C57L_J_", "CAF1_J_", "CAST_EIJ_", "CB6F1_J_", "CBA_CAJ_", "CBA_J_"]

# The whole head: 28.8 mm, into which all of the 20 fit, at a third of the stored resolution of 0.141 mm.
load = [
    dict(type="LoadImage", channels=1),
    dict(type="ResampleSpacing", spacing=0.45),
    dict(type="CenterCrop", size=(64, 64, 64)),
]
# The animals lay turned about the scanner's long axis, z, by any angle.
augmented = [
    dict(type="RandomAffine", rotation=(20, 20, 180), scale=0.15, shift=0.05),
    dict(type="RandomElastic", amplitude=0.03, prob=0.5),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.7, 1.43)),
    dict(type="RandomBrightnessContrast", brightness=0.03, contrast=0.2),
    dict(type="RandomNoise", prob=0.5),
    dict(type="PackInputs"),
]
plain = [dict(type="Resample"), dict(type="PackInputs")]

dataset = dict(
    type="SlicerMarkups",
    data_root=data_root,
    ann_file="target_LMs",
    image_dir="targets",
    schema="mouse_head",
    image_cache=dict(mode="ram"),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, ids=train_ids, pipeline=[*load, *augmented]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, ids=val_ids, pipeline=[*load, *plain], test_mode=True),
)
test_dataloader = dict(val_dataloader, dataset=dict(val_dataloader["dataset"], ids=test_ids))
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(0.25, 0.5, 1))
test_evaluator = val_evaluator
