"""An opinion to keep: records, PDF, JSON, GeoJSON, PNG and tables."""
