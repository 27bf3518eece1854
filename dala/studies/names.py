"""What models and scores are called on the evidence page, and the lines that its words draw."""

from __future__ import annotations

METRICS = {
    "auc": "AUC",
    "balanced_accuracy": "Balanced accuracy",
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "f1": "F1",
    "gmean": "GMean",
    "iba": "IBA",
    "brier": "Brier (less is better)",
}
NETWORK, PROBE, COLOUR, TEACHER = "dala_resnet50", "linear_probe", "colour_only", "teacher"
MODELS = {
    NETWORK: "DALAResNet50",
    PROBE: "Linear probe",
    COLOUR: "Colour alone",
    TEACHER: "Its teacher alone",
    "dala_resnet50_stain_shift": "Stain changed",
}
CUT = 0.5  # from this probability on an image is called malignant, in every table here
CROSSVALIDATE = "dala crossvalidate breakhis --data ROOT"
