"""What has been measured: a study a file, each writing one file under evidence/. See `dala.studies.study`."""
