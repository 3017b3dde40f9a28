# Readable names of MIND's categories and subcategories, so that a wish can name them. One name may stand for
# several subcategories of one subject; names that are not listed stay, with blanks for '-' and '_'.

READABLE = {
    # categories
    "foodanddrink": "food and drink",
    "middleeast": "Middle East",
    "northamerica": "North America",
    "tv": "TV",
    # news
    "newsbusiness": "business",
    "newscrime": "crime",
    "newsfactcheck": "fact check",
    "factcheck": "fact check",
    "newsgoodnews": "good news",
    "newsoffbeat": "offbeat news",
    "newsopinion": "opinion",
    "newsphotos": "news photos",
    "newspolitics": "politics",
    "newsscience": "science",
    "newsscienceandtechnology": "science and technology",
    "newstechnology": "technology",
    "newsus": "US news",
    "newsworld": "world news",
    "elections-2020-us": "US elections",
    # sports
    "baseball_mlb": "MLB baseball",
    "baseball_mlb_videos": "MLB baseball",
    "basketball_nba": "NBA basketball",
    "basketball_nba_videos": "NBA basketball",
    "basketball_ncaa": "college basketball",
    "boxing-mma": "mixed martial arts",
    "football_ncaa": "college football",
    "football_ncaa_videos": "college football",
    "football_nfl": "NFL football",
    "football_nfl_videos": "NFL football",
    "icehockey_nhl": "NHL ice hockey",
    "mma": "mixed martial arts",
    "more_sports": "other sports",
    # famous people, in whatever category
    "celebrity": "celebrities",
    "entertainment-celebrity": "celebrities",
    "lifestylecelebstyle": "celebrity style",
    "movies-celebrity": "celebrities",
    "music-celebrity": "celebrities",
    "tv-celebrity": "celebrities",
    # lifestyle
    "lifestylebuzz": "lifestyle buzz",
    "lifestylecareer": "careers",
    "lifestylecleaningandorganizing": "cleaning and organizing",
    "lifestyledidyouknow": "did you know",
    "lifestylefamily": "family",
    "lifestylefamilyandrelationships": "family and relationships",
    "lifestylefashion": "fashion",
    "lifestylehomeandgarden": "home and garden",
    "lifestylehoroscope": "horoscopes",
    "lifestyleparenting": "parenting",
    "lifestylepets": "pets",
    "lifestylepetsanimals": "pets",
    "lifestyleroyals": "royals",
    "lifestylesmartliving": "smart living",
    "lifestyleweddings": "weddings",
    "shop-all": "shopping",
    "shop-holidays": "holiday shopping",
    # finance
    "finance-career": "careers",
    "finance-career-education": "careers",
    "finance-companies": "companies",
    "finance-real-estate": "real estate",
    "finance-retirement": "retirement",
    "finance-savemoney": "saving money",
    "finance-saving-investing": "saving and investing",
    "finance-taxes": "taxes",
    "finance-top-stocks": "stocks",
    "financenews": "finance news",
    "personalfinance": "personal finance",
    # food and drink
    "foodnews": "food news",
    "newstrends": "food trends",
    "quickandeasy": "quick and easy recipes",
    "restaurantsandnews": "restaurants",
    "tipsandtricks": "cooking tips",
    # health
    "health-news": "health news",
    "healthnews": "health news",
    "weightloss": "weight loss",
    # travel and weather
    "travelarticle": "travel",
    "travelnews": "travel news",
    "traveltips": "travel tips",
    "traveltripideas": "trip ideas",
    "weathertopstories": "weather",
    # autos
    "autosclassics": "classic cars",
    "autosenthusiasts": "car enthusiasts",
    "autosluxury": "luxury cars",
    "autosmotorcycles": "motorcycles",
    "autosnews": "autos news",
    "autosownership": "car ownership",
    "autossports": "motor sports",
    "autossuvs": "SUVs",
    "autostrucks": "trucks",
    # films, music, TV, video
    "entertainment-books": "books",
    "movienews": "movie news",
    "movies-gallery": "movie galleries",
    "movievideo": "movie videos",
    "music-awards": "music awards",
    "music-gallery": "music galleries",
    "musicnews": "music news",
    "musicvideos": "music videos",
    "popculture": "pop culture",
    "tv-gallery": "TV galleries",
    "tv-recaps": "TV recaps",
    "tvnews": "TV news",
    "tvvideos": "TV videos",
    "viral": "viral videos",
}


def readable_tag(name: str) -> str:
    """Return the readable name of a category or subcategory.

    Parameters
    ----------
    name : str
        As in ``news.tsv``.

    Returns
    -------
    str
        The name; ``""`` for ``""``.

    Examples
    --------
    >>> readable_tag("football_nfl"), readable_tag("cma-awards")
    ('NFL football', 'cma awards')
    """
    return READABLE.get(name, name.replace("-", " ").replace("_", " ").strip())
