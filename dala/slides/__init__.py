"""Whole slides: reader, tissue, plan of fields, scan with resume, findings and files, one or thousands."""
