"""What each part of the model is worth: stage 3 trained again without it."""
