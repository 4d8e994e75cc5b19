"""The networks as torch modules, and a picture as their input. They know no files and no sampling."""
