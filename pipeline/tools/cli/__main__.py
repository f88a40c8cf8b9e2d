from pipeline.tools.cli.main import main

main()
