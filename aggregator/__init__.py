"""What a call is, how calls fold into rollups, how rollups merge and where they are kept. Knows no Kafka, no HTTP."""
